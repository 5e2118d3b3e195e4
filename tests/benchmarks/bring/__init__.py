"""What strangers bring: their pictures, their generators, their people's wishes. One module per figure.

`make bench-bring` runs all of them; each fills its own figures of `bring.json`.
"""
