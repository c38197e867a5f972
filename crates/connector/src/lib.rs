//! Keeps Dynamics 365 and Adobe Campaign Standard in step.
