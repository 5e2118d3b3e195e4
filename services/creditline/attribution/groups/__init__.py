"""Shapley values of contributors in a game that is played by inference alone (SurrogateSHAP)."""
