# shellcheck shell=bash
# Sourced by scripts/file-manager-check: a desktop of its own for programs that need one. A screen that nobody sees
# (Xvfb), a session bus, a home that is thrown away, and what a person does with windows: waiting for them, typing,
# taking a picture. Wants packages.sh sourced; whatever is started is ended by `end_last`.

# Seconds until something that should happen counts as not happening.
patience=120
# The screen: wide enough for every file to be seen at once, for what is not seen gets no thumbnail.
width=2560 height=1440

# The program that is looked at, and its window.
manager='' main=''

left=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)/target/file-manager-check
rm -rf "$left"
mkdir -p "$left"
work=$(realpath "$(mktemp -d)")
mkdir -m 700 "$work/home" "$work/home/cache" "$work/home/config" "$work/home/data" "$work/home/state" "$work/home/run"

# What runs in here is in groups of its own, for the session bus starts programs that this script never hears of.
groups=()

# Whether anything but the dead that nobody has waited for yet is left in a group.
group_lives() { ps -e -o pgid=,stat= | awk -v group="$1" '$1 == group && $2 !~ /^Z/ { found = 1 } END { exit !found }'; }

end_last() {
  local group=${groups[-1]}
  unset 'groups[-1]'
  kill -TERM -- "-$group" 2>/dev/null || true
  for _ in $(seq 100); do
    group_lives "$group" || break
    sleep 0.1
  done
  kill -KILL -- "-$group" 2>/dev/null || true
  wait "$group" 2>/dev/null || true
}

# The environment of everything that is started: nothing of whoever runs this, and nothing is left behind. The screen of
# whoever runs this is not the one that is looked at.
unset DISPLAY
surroundings=(env -i PATH="$PATH" LANG=C.UTF-8 HOME="$work/home" XDG_CACHE_HOME="$work/home/cache"
  XDG_CONFIG_HOME="$work/home/config" XDG_DATA_HOME="$work/home/data" XDG_STATE_HOME="$work/home/state"
  XDG_RUNTIME_DIR="$work/home/run" GIO_USE_VFS=local GIO_USE_VOLUME_MONITOR=unix NO_AT_BRIDGE=1)

# run LOG COMMAND...: in the background, in a group of its own.
run() {
  local log=$left/$1.log
  shift
  : >"$log"
  # setsid becomes the command without a fork: a background job of a script leads no group yet.
  setsid "${surroundings[@]}" "$@" >"$log" 2>&1 </dev/null &
  groups+=("$!")
}

# within SECONDS COMMAND...: until it succeeds, or fails when it did not within that time.
within() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.2
  done
}

# eventually WHAT COMMAND...: the same, and WHAT is what did not happen otherwise.
eventually() {
  local what=$1
  shift
  within "$patience" "$@" || fail "in vain for $patience s: $what; see target/file-manager-check/"
}

# said LOG PATTERN: what a program has said, the part in brackets; fails while it has not.
said() { sed -nE "s|$2|\\1|p" "$left/$1.log" | grep -m1 .; }

start_desktop() {
  run screen Xvfb -displayfd 1 -screen 0 "${width}x${height}x24" -nolisten tcp
  eventually "the screen starts" said screen '^([0-9]+)$' >/dev/null
  DISPLAY=:$(said screen '^([0-9]+)$')
  export DISPLAY
  surroundings+=("DISPLAY=$DISPLAY")
  run bus dbus-daemon --session --nofork --print-address=1
  eventually "the session bus starts" said bus '^(unix:.*)' >/dev/null
  surroundings+=("DBUS_SESSION_BUS_ADDRESS=$(said bus '^(unix:.*)')")
}

# shoot NAME: a picture of the screen.
shoot() { import -window root "$left/$1.png"; }

# The colours of a picture, for `pixels`.
count_colours() { convert "$left/$1.png" -depth 8 -format %c histogram:info:- >"$work/histogram"; }

# pixels COLOUR...: the smallest number of pixels that any of these colours has.
pixels() {
  awk -v wanted="$*" '
    BEGIN { split(wanted, list, " "); for (at in list) found["#" list[at]] = 0 }
    match($0, /#[0-9A-F]{6}/) || match($0, /#[0-9A-F][0-9A-F][0-9A-F][0-9A-F][0-9A-F][0-9A-F]/) {
      colour = substr($0, RSTART, 7)
      if (colour in found) found[colour] = $1 + 0
    }
    END {
      least = -1
      for (colour in found) if (least < 0 || found[colour] < least) least = found[colour]
      print least
    }' "$work/histogram"
}

# The windows of the program that is looked at, and those of a name.
windows() { xdotool search --onlyvisible --class "^$manager\$" 2>/dev/null; }
no_windows() { ! windows; }
dialogs() { xdotool search --onlyvisible --name "$1" 2>/dev/null; }
no_dialogs() { ! dialogs "$1" >/dev/null; }

# press WINDOW KEY...: there is no window manager, so a window gets the keyboard because it is said here.
press() {
  local window=$1
  shift
  xdotool windowfocus --sync "$window" && xdotool key --delay 50 "$@"
}

# opens KEY TITLE: has the program open a dialog, which it only does when it has noticed what is selected. One that came
# late is not asked for again.
opens() { dialogs "$2" >/dev/null || { press "$main" "$1" && within 5 dialogs "$2" >/dev/null; }; }

# opens_for NAME KEY TITLE: the same in PCManFM, which selects what is typed in a little window of its own.
opens_for() {
  local typing
  dialogs "$3" >/dev/null && return
  xdotool windowfocus --sync "$main" && xdotool type --delay 50 "$1"
  typing=$(dialogs . | tail -n 1)
  [ -z "$typing" ] || [ "$typing" = "$main" ] || press "$typing" Escape || true
  opens "$2" "$3"
}

# answer TITLE NAME KEY...: takes a picture of a dialog and answers it; then it is gone.
answer() {
  local title=$1 picture=$2 dialog
  shift 2
  dialog=$(dialogs "$title" | tail -n 1)
  xdotool windowfocus --sync "$dialog"
  shoot "$picture"
  press "$dialog" "$@"
}

# Puts a file where the next paste takes it from, as a file manager's "copy" does.
copy() { printf 'copy\nfile://%s' "$1" | xclip -selection clipboard -t x-special/gnome-copied-files -loops 0 >/dev/null 2>&1; }
