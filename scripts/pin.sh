#!/usr/bin/env bash
# Writes constraints.txt (base, test, fpga, firmware and formal, resolved together, so that adding an extra
# never replaces a package) and constraints-train.txt: the exact versions of everything installed.
# Arguments: which of the two, "main" or "train" (default: both).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
cp -r accel sim boards pyproject.toml README.md LICENSE "$scratch"

pin() {
  local file="$1" extras="$2" pip=("$scratch/$1.venv/bin/python" -m pip --disable-pip-version-check)
  echo "resolving $extras for $file"
  python3 -m venv "$scratch/$file.venv"
  "${pip[@]}" install --quiet "$scratch$extras"
  {
    echo "# Written by scripts/pin.sh, for: pip install -c $file '.$extras'"
    "${pip[@]}" freeze --exclude systolite
  } >"$file"
}

for set in ${*:-main train}; do
  case "$set" in
    main) pin constraints.txt "[test,fpga,firmware,formal]" ;;
    train) pin constraints-train.txt "[train]" ;;
    *) echo "pin.sh: unknown set $set: use main or train" >&2; exit 2 ;;
  esac
done
