"""What there is to see of a mesh and to do to it over HTTP: `/api`, and the page that shows it."""
