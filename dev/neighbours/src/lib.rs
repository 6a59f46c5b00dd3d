//! Stand-ins for the systems around Dues, for development, demos and tests: each as strict as the real one is known to
//! be, with a state of its own, over HTTP. They share nothing with the service, so that the two can't agree on a mistake.

pub mod discourse;
pub mod login;
pub mod mosaic;
