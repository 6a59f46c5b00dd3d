//! Mosaic Billing with the services around it.
