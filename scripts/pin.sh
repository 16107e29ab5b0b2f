#!/usr/bin/env bash
# Writes requirements/*.txt: the exact versions of everything that an installation with each extra
# brings in, resolved afresh in empty environments. Arguments: the extras (default: all).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

for extra in ${*:-base test fpga train}; do
  echo "resolving $extra"
  python3 -m venv "$scratch/$extra"
  pip=("$scratch/$extra/bin/python" -m pip --disable-pip-version-check)
  # The base versions hold everywhere, so that adding an extra never replaces a package.
  constraint=(); target="."
  if [[ $extra != base ]]; then constraint=(-c requirements/base.txt); target=".[$extra]"; fi
  if [[ $extra == train ]]; then constraint=(); fi
  "${pip[@]}" install --quiet "${constraint[@]}" "$target"
  {
    echo "# Written by scripts/pin.sh: versions for \`pip install -c requirements/$extra.txt\`."
    "${pip[@]}" freeze --exclude systolite
  } >"requirements/$extra.txt"
done
