"""Names, rights and consent that a picture carries itself or that lie beside it; read without any network."""
