//! A typed client of the Dataverse Web API (Dynamics 365).
