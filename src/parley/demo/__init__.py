"""What `parley serve --demo` adds: sign-ins and rooms to try, and a shop of another origin with the widget on it."""
