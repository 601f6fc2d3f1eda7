//! What networks answer, whatever their settings, and what a user makes of it.

mod kinds;
mod networks;
mod results;
mod settings;
