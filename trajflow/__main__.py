"""What `python -m trajflow` runs: the command line."""

from trajflow.cli import main

if __name__ == "__main__":
    main()
