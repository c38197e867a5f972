//! A typed client of the Adobe Campaign Standard API.
