"""`python -m jax_occupancy`, the command line without the installed script."""

from jax_occupancy.cli import main

if __name__ == "__main__":
    main()
