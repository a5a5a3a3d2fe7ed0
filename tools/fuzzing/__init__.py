"""What tools/fuzz.py throws at the zoo: a file for each way in, each with its inputs and how they have to end."""
