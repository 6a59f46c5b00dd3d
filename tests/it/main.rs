//! The tests that go through HTTP: a service of its own, a database of its own and a sandbox of its own for each.

mod api_input;
mod arbitrary_input;
mod architecture;
mod auth;
mod bad_input;
mod checkout_return;
mod command_line;
mod convergence;
mod disputes;
mod faults;
mod follow_price;
mod harness;
mod lifecycle_one_off;
mod lifecycle_recurring;
mod open_invoices;
mod operation;
mod operator;
mod own_affairs;
mod portal;
mod purchase;
mod refunds;
mod repair;
mod settings;
mod shapes;
mod subscribe;
mod webhooks;
