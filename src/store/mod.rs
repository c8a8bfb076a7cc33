//! Durable phases, events and deliveries.
