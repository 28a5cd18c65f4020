"""What is shipped beside the package: units, containers, dashboards."""
