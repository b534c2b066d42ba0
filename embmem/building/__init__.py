"""From a recording to a saved memory: read, place, observe, close loops, save; every step written down."""
