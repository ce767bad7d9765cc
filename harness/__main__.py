"""`python -m harness`: one run; `python -m harness -m`: a study."""

from harness.app import main

if __name__ == "__main__":
    main()
