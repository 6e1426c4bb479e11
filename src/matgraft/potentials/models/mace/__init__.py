"""MACE of mace-torch: `potential` is the adapter, `vendor` alone imports the packages mace and e3nn."""
