"""How fast and how large Roomkeeper is, against what it is measured by: `make bench`."""
