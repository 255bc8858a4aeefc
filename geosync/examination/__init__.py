"""What `geosync doctor` looks at: each module examines one subject and returns findings."""
