"""What `manyhands.multiprocessing` is made of; the public modules there export it."""
