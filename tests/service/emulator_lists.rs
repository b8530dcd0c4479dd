//! Lists: their order, their pages, their cursors, their scopes.

use afs::emulator::{Config, Emulator, PlantedFile, Switches, UnknownCursor};
use serde_json::Value;

use crate::wire::{Api, start};

fn outputs(emulator: &Emulator, count: usize) -> Vec<String> {
    let mut ids: Vec<_> = (0..count)
        .map(|index| {
            emulator
                .plant(PlantedFile::output(format!("{index}.txt"), "x"))
                .unwrap()
                .id
        })
        .collect();
    ids.reverse();
    ids
}

/// Walks as the official client does: `after_id=last_id` while there is more.
fn walk(api: &Api, path: &str, step: impl Fn(&Value) -> String) -> Vec<Value> {
    let mut pages = vec![api.get(path).ok()];
    while let Some(last) = pages.last().filter(|page| page["has_more"] == true) {
        let cursor = step(last);
        pages.push(api.get(&format!("{path}&{cursor}")).ok());
        assert!(pages.len() < 100, "no end");
    }
    pages
}

fn ids(page: &Value) -> Vec<&str> {
    let data = page["data"].as_array().unwrap();
    data.iter()
        .map(|file| file["id"].as_str().unwrap())
        .collect()
}

#[test]
fn a_list_is_newest_first_in_pages_of_twenty() {
    let (emulator, api) = start(Config::default());
    let expected = outputs(&emulator, 45);
    let pages = walk(&api, "/v1/files?beta=true", |page| {
        format!("after_id={}", page["last_id"].as_str().unwrap())
    });
    let sizes: Vec<_> = pages.iter().map(|page| ids(page).len()).collect();
    assert_eq!(sizes, [20, 20, 5]);
    assert_eq!(pages.iter().flat_map(ids).collect::<Vec<_>>(), expected);
    for page in &pages {
        assert_eq!(page["first_id"], ids(page)[0]);
        assert_eq!(page["last_id"], *ids(page).last().unwrap());
    }
    let times: Vec<_> = pages
        .iter()
        .flat_map(|page| page["data"].as_array().unwrap())
        .map(|file| file["created_at"].as_str().unwrap())
        .collect();
    assert!(
        times.is_sorted_by(|newer, older| newer > older),
        "{times:?}"
    );
}

#[test]
fn before_id_walks_towards_the_newest() {
    let (emulator, api) = start(Config::default());
    let all = outputs(&emulator, 10);
    let page = |query: String| {
        let page = api.get(&format!("/v1/files?{query}")).ok();
        let ids: Vec<_> = ids(&page)
            .iter()
            .map(|id| all.iter().position(|known| known == id).unwrap())
            .collect();
        (ids, page["has_more"].as_bool().unwrap())
    };
    // Places in the list, 0 the newest.
    assert_eq!(
        page(format!("limit=3&before_id={}", all[9])),
        (vec![6, 7, 8], true)
    );
    assert_eq!(
        page(format!("limit=3&before_id={}", all[6])),
        (vec![3, 4, 5], true)
    );
    assert_eq!(
        page(format!("limit=3&before_id={}", all[3])),
        (vec![0, 1, 2], false)
    );
    assert_eq!(
        page(format!("limit=3&before_id={}", all[0])),
        (vec![], false)
    );
    assert_eq!(
        page(format!("limit=3&after_id={}", all[6])),
        (vec![7, 8, 9], false)
    );
    assert_eq!(
        page(format!("limit=3&after_id={}", all[9])),
        (vec![], false)
    );
}

#[test]
fn a_list_of_nothing_has_no_cursors() {
    let (_emulator, api) = start(Config::default());
    let expected =
        serde_json::json!({"data": [], "has_more": false, "first_id": null, "last_id": null});
    assert_eq!(api.get("/v1/files").ok(), expected);
}

#[test]
fn limits_are_one_to_a_thousand() {
    let (emulator, api) = start(Config::default());
    emulator.bulk(1001, "b-", 1, true).unwrap();
    for (limit, count) in [("1", 1), ("1000", 1000)] {
        let page = api.get(&format!("/v1/files?limit={limit}")).ok();
        assert_eq!(
            (ids(&page).len(), page["has_more"].as_bool()),
            (count, Some(true))
        );
    }
    for limit in ["0", "1001", "-1", "x", "", "1.5", "99999999999999999999"] {
        let (status, kind, message, _) = api.get(&format!("/v1/files?limit={limit}")).error();
        assert_eq!(
            (status, kind.as_str()),
            (400, "invalid_request_error"),
            "{limit}"
        );
        assert!(message.starts_with("limit: "), "{message}");
    }
}

#[test]
fn both_cursors_at_once_are_refused() {
    let (emulator, api) = start(Config::default());
    let all = outputs(&emulator, 2);
    let both = format!("/v1/files?after_id={}&before_id={}", all[0], all[1]);
    assert_eq!(api.get(&both).error().0, 400);
}

#[test]
fn an_unknown_cursor_is_what_the_switch_says() {
    for (unknown_cursor, expected) in [
        (UnknownCursor::Refused, None),
        (UnknownCursor::EmptyPage, Some(0)),
        (UnknownCursor::Ignored, Some(3)),
    ] {
        let switches = Switches {
            unknown_cursor,
            ..Switches::default()
        };
        let (emulator, api) = start(Config {
            switches,
            ..Config::default()
        });
        let deleted = outputs(&emulator, 4).remove(1);
        assert!(emulator.delete(&deleted).unwrap());
        for cursor in [
            "after_id=file_none".to_owned(),
            format!("before_id={deleted}"),
        ] {
            let reply = api.get(&format!("/v1/files?{cursor}"));
            match expected {
                None => assert_eq!(reply.error().0, 400),
                Some(count) => {
                    let page = reply.ok();
                    assert_eq!(
                        (ids(&page).len(), page["has_more"].as_bool()),
                        (count, Some(false))
                    );
                }
            }
        }
    }
}

#[test]
fn files_of_sessions_are_listed_for_their_session_only() {
    let (emulator, api) = start(Config::default());
    let plain = emulator
        .plant(PlantedFile::output("plain.txt", "x"))
        .unwrap();
    let scoped = |session: &str| {
        let file = PlantedFile {
            session: Some(session.to_owned()),
            ..PlantedFile::output("scoped.txt", "x")
        };
        emulator.plant(file).unwrap().id
    };
    let (first, second, third) = (scoped("sesn_a"), scoped("sesn_a"), scoped("sesn_b"));
    assert_eq!(api.ids("/v1/files"), [plain.id]);
    assert_eq!(
        api.scoped_ids("/v1/files?scope_id=sesn_a"),
        [second.clone(), first.clone()]
    );
    assert_eq!(api.scoped_ids("/v1/files?scope_id=sesn_b"), [third]);
    assert_eq!(api.scoped_ids("/v1/files?scope_id=sesn_none"), [""; 0]);
    assert_eq!(
        api.scoped_ids(&format!("/v1/files?scope_id=sesn_a&after_id={second}")),
        std::slice::from_ref(&first)
    );
    let file = api.get(&format!("/v1/files/{first}")).ok();
    assert_eq!(
        file["scope"],
        serde_json::json!({"type": "session", "id": "sesn_a"})
    );
}

/// The managed agents guide: the parameter needs the beta. What the service does without it is a guess.
#[test]
fn a_session_is_listed_with_the_managed_agents_beta_only() {
    for ignored in [false, true] {
        let switches = Switches {
            scope_ignored_without_beta: ignored,
            ..Switches::default()
        };
        let (emulator, api) = start(Config {
            switches,
            ..Config::default()
        });
        let plain = emulator
            .plant(PlantedFile::output("plain.txt", "x"))
            .unwrap();
        let scoped = emulator.plant(PlantedFile {
            session: Some("sesn_a".to_owned()),
            ..PlantedFile::output("scoped.txt", "x")
        });
        let path = "/v1/files?scope_id=sesn_a";
        assert_eq!(api.scoped_ids(path), [scoped.unwrap().id]);
        // With the beta and without the parameter the list is the workspace's as ever.
        assert_eq!(api.scoped_ids("/v1/files"), std::slice::from_ref(&plain.id));
        if ignored {
            assert_eq!(api.ids(path), [plain.id]);
        } else {
            let (status, kind, message, _) = api.get(path).error();
            assert_eq!((status, kind.as_str()), (400, "invalid_request_error"));
            assert!(message.contains("managed-agents-2026-04-01"), "{message}");
        }
    }
}

#[test]
fn planted_times_and_ids_take_their_place_in_the_order() {
    let (emulator, api) = start(Config::default());
    let plant = |id: &str, time: &str| {
        let file = PlantedFile {
            id: Some(id.to_owned()),
            created_at: Some(time.parse().unwrap()),
            ..PlantedFile::output(id, "x")
        };
        emulator.plant(file).unwrap();
    };
    let (long, middle) = (format!("file_{}", "x-_".repeat(65)), "f".repeat(40));
    plant("abc", "1970-01-01T00:00:00Z");
    plant(&long, "9999-01-01T00:00:00Z");
    plant(&middle, "2020-01-01T00:00:00.123456Z");
    plant("twin", "2020-01-01T00:00:00.123456Z");
    let now = api.upload("now", b"x").ok();
    // A planted future is that file's alone: what comes now is dated now.
    assert!(now["created_at"].as_str().unwrap() < "9999");
    let expected = [
        long.as_str(),
        now["id"].as_str().unwrap(),
        "twin",
        &middle,
        "abc",
    ];
    assert_eq!(api.ids("/v1/files"), expected);
    assert_eq!(api.get(&format!("/v1/files/{long}/content")).body, b"x");
    assert_eq!(api.delete("/v1/files/abc").status, 200);
}
