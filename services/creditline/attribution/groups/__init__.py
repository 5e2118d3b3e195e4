"""Credit of groups of works, such as all works of a contributor, by Shapley values of a proxy game (SurrogateSHAP)."""
