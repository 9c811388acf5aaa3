"""Access to the services of Microsoft: who we are there. One place for the warehouse, Fabric and Power BI."""
