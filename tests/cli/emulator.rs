//! `afs emulator`: from its first line to its end.
