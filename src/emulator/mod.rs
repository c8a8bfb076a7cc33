//! The cloud API served from a simulated fleet.
