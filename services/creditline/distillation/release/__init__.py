"""Writing of a release from a trained and calibrated encoder, and verification of releases."""
