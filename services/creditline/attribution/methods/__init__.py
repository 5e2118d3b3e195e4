"""Attribution methods behind one interface: similarity, gradients, TRAK and NDA."""
