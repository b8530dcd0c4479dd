//! Over https: with a certificate that is trusted, without one that is, and through a proxy.

use super::harness::{KEY, World};
use super::wiretap::Wiretap;
use afs::emulator::Config;

/// A world whose service speaks TLS, and whose programs trust it.
fn secure() -> World {
    let mut world = World::with(Config {
        tls: true,
        ..Config::default()
    });
    let path = world.dir.path().join("certificate.pem");
    std::fs::write(&path, world.emulator.certificate().expect("a certificate")).unwrap();
    let path = path.to_str().unwrap().to_owned();
    world.variables = vec![("SSL_CERT_FILE", path)];
    world
}

#[test]
fn a_mount_works_over_https() {
    let world = secure();
    assert!(world.emulator.base_url().starts_with("https://127.0.0.1:"));
    world.output("chart.png", b"not really a picture");
    let mount = world.mount();
    assert_eq!(mount.sh("cat chart.png"), "not really a picture");
    mount.sh("head -c 3000000 /dev/zero > f; echo x >> chart.png");
    assert_eq!(world.stored_bytes("f"), vec![0; 3_000_000]);
    mount.sh("rm f");
    mount.unmount();
    assert!(world.all_stored("f").is_empty());
}

#[test]
fn a_certificate_nobody_trusts_is_a_sentence() {
    let mut world = secure();
    let empty = world.dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap().to_owned();
    let others = World::with(Config {
        tls: true,
        ..Config::default()
    });
    let foreign = world.dir.path().join("foreign.pem");
    std::fs::write(&foreign, others.emulator.certificate().unwrap()).unwrap();
    let foreign = foreign.to_str().unwrap().to_owned();
    for (file, says) in [
        (
            foreign,
            "the server's certificate is not trusted on this machine",
        ),
        (
            empty,
            "is SSL_CERT_FILE set to a file without certificates?",
        ),
    ] {
        world.variables = vec![("SSL_CERT_FILE", file)];
        let path = world.dir.path().join("m");
        let output = world
            .afs()
            .args(["mount", "--timeout", "1s"])
            .arg(path)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.contains(says) && said.contains("SSL_CERT_FILE"),
            "{said}"
        );
    }
    assert!(world.emulator.requests().is_empty());
}

#[test]
fn a_proxy_passes_on_what_it_cannot_read() {
    let mut world = secure();
    let proxy = Wiretap::proxy();
    world.variables.push(("HTTPS_PROXY", proxy.url()));
    let mount = world.mount();
    mount.sh("echo x > f");
    mount.unmount();
    assert_eq!(world.stored_bytes("f"), b"x\n");
    let heard = proxy.heard();
    let asked = format!("connect {} http/1.1", world.emulator.addr());
    assert!(heard.contains(&asked), "{heard}");
    assert!(
        !heard.contains(KEY) && !heard.contains("x-api-key"),
        "{heard}"
    );
    assert!(!heard.contains("/v1/files"), "{heard}");
}

/// The key would be seen by the proxy, and what is on this machine needs none.
#[test]
fn no_proxy_is_asked_for_plain_http_to_this_machine() {
    let mut world = World::new();
    let proxy = Wiretap::proxy();
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        world.variables.push((name, proxy.url()));
    }
    let mount = world.mount();
    mount.sh("echo x > f");
    mount.unmount();
    assert_eq!(proxy.heard(), "");
}
