"""`python -m meshproxy` is the program `meshproxy`."""

from meshproxy.cli import main

if __name__ == "__main__":
    main()
