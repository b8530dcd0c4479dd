# shellcheck shell=bash
# Sourced by the other scripts: finding what is missing on this machine, and installing it where that is possible.

export PATH="$HOME/.cargo/bin:$PATH"

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "$(basename "$0"): $*"
  exit 1
}

# as_root COMMAND...: runs a command as root. Asks for a password only where somebody sits at a terminal.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif ! command -v sudo >/dev/null; then
    return 1
  elif [ -t 0 ] && [ -t 2 ]; then
    sudo "$@"
  else
    sudo -n "$@" </dev/null
  fi
}

# apt_install PACKAGE...: with the package lists as they are, and if that fails with fresh ones.
apt_install() {
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120
    install --yes --no-install-recommends "$@")
  as_root "${install[@]}" >&2 || { as_root apt-get -qq update >&2 && as_root "${install[@]}" >&2; }
}

# need PROGRAM:PACKAGE[,PACKAGE]...: installs the packages of the programs that are not there. What is no program is
# told by a file of it, named from the root.
need() {
  local pair packages=()
  for pair in "$@"; do
    if ! [[ $pair == /* && -e ${pair%%:*} ]] && ! command -v "${pair%%:*}" >/dev/null; then
      IFS=, read -ra more <<<"${pair#*:}"
      packages+=("${more[@]}")
    fi
  done
  [ "${#packages[@]}" -gt 0 ] || return 0
  command -v apt-get >/dev/null ||
    fail "these packages are missing: ${packages[*]}. There is no apt-get here; install them with this system's own tool, then run this again."
  say "installing ${packages[*]}"
  apt_install "${packages[@]}" ||
    fail "these packages are missing and could not be installed: ${packages[*]}. Install them as root, for example with: sudo apt-get install ${packages[*]}"
}

need_cargo() {
  command -v cargo >/dev/null ||
    fail "there is no Rust toolchain: install one from https://rustup.rs, then run this again."
}
