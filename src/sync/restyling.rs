//! Another style of names for a workspace that is known already: everything in the catalogue is called what the new style
//! calls it, at once and without a word to the service.
//!
//! What looks alike in the new style is told apart as in a listing: what is only here has the plain name, else the newest
//! file; and what carried a suffix carries one for as long as it exists.

use std::cmp::Reverse;

use crate::names::{self, NameStyle};
use crate::state::{Merge, Row, State, StateError};

use super::naming::suffixed_name;

/// Has names in `style` from now on. For the moment after a start, before anything else: nobody has looked at a name, and
/// no listing is under way.
pub fn restyle(state: &State, style: NameStyle) -> Result<(), StateError> {
    let before = state.style();
    if before == style {
        if !state.has_style()? {
            // From now on it is what somebody chose.
            state.restyle(style, |_| Ok(()))?;
        }
        return Ok(());
    }
    let drafts = state.unfinished()?;
    state.restyle(style, |merge| {
        let mut followers = Vec::new();
        for draft in &drafts {
            let of = merge.row_named(None, &draft.name)?.map(|row| row.ino);
            followers.push((draft, of));
        }
        rename_rows(merge, before)?;
        rename_formers(merge, before)?;
        for (draft, of) in followers {
            let shown = of.map(|ino| merge.name_of(ino)).transpose()?.flatten();
            let name = shown.unwrap_or_else(|| retyped(&draft.name, before, style));
            merge.rename_unfinished(draft.seq, &name)?;
        }
        Ok(())
    })
}

/// What a name is called that no file has: it was typed, and may be again.
fn retyped(name: &str, before: NameStyle, style: NameStyle) -> String {
    match before.filename(name) {
        Ok(filename) => style.typed_name(&filename).into_owned(),
        Err(_) => name.to_owned(),
    }
}

/// Whether a file is called something else than `before`.
fn is_renamed(merge: &Merge<'_, '_>, before: NameStyle, filename: &str, own: bool) -> bool {
    let style = merge.style();
    before.name_of(filename, own) != style.name_of(filename, own)
        || before.fits(filename) != style.fits(filename)
}

fn rename_rows(merge: &mut Merge<'_, '_>, before: NameStyle) -> Result<(), StateError> {
    let mut rows = merge.shown(|row| is_renamed(merge, before, &row.filename, row.own))?;
    for row in &rows {
        merge.unname(row.ino)?;
    }
    // Suffixes last: they give way to whatever is really called so.
    rows.sort_by_key(|row| (row.suffixed, Reverse(row.created_at), row.ino));
    for row in &rows {
        let (name, suffixed) = new_name(merge, before, row)?;
        merge.set_name(row.ino, &name, suffixed)?;
    }
    Ok(())
}

/// The name for a file that has none, free now, and whether it carries a suffix.
fn new_name(
    merge: &mut Merge<'_, '_>,
    before: NameStyle,
    row: &Row,
) -> Result<(String, bool), StateError> {
    let scope = row.scope.as_deref();
    let style = merge.style();
    let plain = style.name_of(&row.filename, row.own);
    let is_cut = !style.fits(&row.filename);
    if row.suffixed || is_cut || plain == names::VIEWS {
        let name = suffixed_name(merge, scope, &plain, &suffix_for(before, row))?;
        return Ok((name, true));
    }
    let Some(holder) = merge.row_named(scope, &plain)? else {
        return Ok((plain.into_owned(), false));
    };
    let makes_way = !holder.suffixed
        && !merge.is_local(&holder)
        && (merge.is_local(row) || holder.created_at < row.created_at);
    let moved = if makes_way { &holder } else { row };
    let aside = suffixed_name(merge, scope, &plain, &suffix_for(before, moved))?;
    if !makes_way {
        return Ok((aside, true));
    }
    merge.set_name(holder.ino, &aside, true)?;
    Ok((plain.into_owned(), false))
}

/// What a suffix is made of: the file's id; before it has one the suffix it has had, or its number here.
fn suffix_for(before: NameStyle, row: &Row) -> String {
    let shown = row.name.as_ref().or(row.scoped_name.as_ref());
    let plain = before.name_of(&row.filename, row.own);
    let had = shown.and_then(|name| names::suffix_of(name, &plain));
    match (&row.id, had.filter(|_| row.suffixed)) {
        (Some(id), _) => id.to_string(),
        (None, Some(suffix)) => suffix.to_owned(),
        (None, None) => row.ino.0.to_string(),
    }
}

/// What comes back when changes are given up comes back under a name of the new style; where that is taken then, the next
/// listing finds it one.
fn rename_formers(merge: &mut Merge<'_, '_>, before: NameStyle) -> Result<(), StateError> {
    for former in merge.formers()? {
        if !is_renamed(merge, before, &former.filename, former.own) {
            continue;
        }
        let plain = merge.style().name_of(&former.filename, former.own);
        let name = if former.suffixed {
            let plain_before = before.name_of(&former.filename, former.own);
            let had = names::suffix_of(&former.name, &plain_before);
            let suffix = had.unwrap_or(former.id.as_str());
            names::suffixed(&plain, suffix, |_| false)
        } else {
            plain.into_owned()
        };
        merge.rename_former(&former.id, &name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use proptest::test_runner::Config;

    use super::super::naming::merge_file;
    use super::*;
    use crate::api::properties::config;
    use crate::api::{FileId, FileMetadata};

    /// Filenames of which many look alike in one style or the other.
    fn filenames() -> impl Strategy<Value = Vec<String>> {
        let token = prop::sample::select(&["‛", "：", ":", "a", ".md", "%2F", "/", ".afs"][..]);
        let name = prop::collection::vec(token, 1..4).prop_map(|tokens| tokens.concat());
        let long = Just("：".repeat(90));
        prop::collection::vec(prop_oneof![9 => name, 1 => long], 1..9)
    }

    fn file(number: usize, filename: &str) -> FileMetadata {
        FileMetadata {
            id: FileId::new(format!("file_{number:08}")),
            filename: filename.to_owned(),
            mime_type: "text/plain".to_owned(),
            size_bytes: 1,
            created_at: jiff::Timestamp::from_second(1_700_000_000 + number as i64).unwrap(),
            downloadable: true,
            scope: None,
            expires_at: None,
        }
    }

    /// Every file has one name, a suffix where it was told from another and for ever after, and else the style's own.
    fn check(
        state: &State,
        count: usize,
        had_suffix: &mut HashSet<FileId>,
    ) -> Result<(), TestCaseError> {
        let rows = state.list(crate::state::Ino(0), 100).unwrap();
        let names: HashSet<_> = rows.iter().map(|row| row.name.clone().unwrap()).collect();
        prop_assert_eq!((rows.len(), names.len()), (count, count));
        for row in rows {
            let (name, id) = (row.name.unwrap(), row.id.unwrap());
            if row.suffixed {
                prop_assert!(name.contains('~'), "{}", name);
                had_suffix.insert(id);
            } else {
                prop_assert_eq!(&*name, state.style().directory_name(&row.filename));
                prop_assert!(!had_suffix.contains(&id), "{} has lost its suffix", name);
                let found = state.lookup(&name).unwrap().map(|row| row.ino);
                prop_assert_eq!(found, Some(row.ino));
            }
        }
        Ok(())
    }

    proptest! {
        // Each case is a database.
        #![proptest_config(Config { cases: config().cases / 100, ..config() })]

        #[test]
        fn every_file_has_one_name_in_either_style(filenames in filenames(), begins in any::<bool>()) {
            let dir = tempfile::tempdir().unwrap();
            let state = State::open(dir.path()).unwrap();
            let (one, two) = if begins {
                (NameStyle::Encode, NameStyle::Strict)
            } else {
                (NameStyle::Strict, NameStyle::Encode)
            };
            restyle(&state, one).unwrap();
            state
                .merge(|merge| {
                    let files = filenames.iter().enumerate();
                    files.map(|(n, name)| merge_file(merge, &file(n, name), &[], 1)).collect::<Result<Vec<_>, _>>()
                })
                .unwrap();
            let mut had_suffix = HashSet::new();
            check(&state, filenames.len(), &mut had_suffix)?;
            for style in [two, one, two] {
                restyle(&state, style).unwrap();
                check(&state, filenames.len(), &mut had_suffix)?;
            }
            // Whoever opens it next has them as well.
            drop(state);
            let state = State::open(dir.path()).unwrap();
            prop_assert_eq!(state.style(), two);
            check(&state, filenames.len(), &mut had_suffix)?;
        }
    }
}
