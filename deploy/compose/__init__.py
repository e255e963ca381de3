"""What docker-compose.yml runs beside the project's own commands."""
