"""Programs that docker-compose.yml runs besides the console commands."""
