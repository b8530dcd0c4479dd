//! What stands on the other side of the wire: the emulator's rules, and whatever speaks to it.

mod emulator_content;
mod emulator_faults;
mod emulator_lists;
mod emulator_persistence;
mod emulator_rules;
mod emulator_side_door;
mod emulator_uploads;
mod wire;
