#!/usr/bin/env bash
# Makes sure that both revisions are here; a head that was named gets a working tree of its own.
# Reads BASE, HEAD; writes the outputs `base` (a commit) and `tree` (the folder to judge).
set -euo pipefail

commit_of() {
  local revision=$1 found
  # a branch is looked up at the remote first: a local one may be old, and checkout makes only the one it was asked for
  case $revision in
    "" | -* | *[[:space:]]*)
      echo "::error title=Ratchet::'$revision' is no revision; say which with base: or head:" >&2
      return 2 ;;
  esac
  if [[ $revision =~ ^[0-9a-f]{40}$ ]] && git cat-file -e "$revision^{commit}" 2>/dev/null; then
    echo "$revision"
  elif git fetch --quiet --no-tags --depth=1 origin "$revision" 2>/dev/null; then
    git rev-parse --verify --quiet "FETCH_HEAD^{commit}"
  elif found=$(git rev-parse --verify --quiet --end-of-options "$revision^{commit}"); then
    echo "$found"
  else
    echo "::error title=Ratchet::no revision '$revision' here or at origin" >&2
    return 2
  fi
}

base=$(commit_of "$BASE")
tree=$(pwd)
if [[ -n $HEAD ]]; then
  head=$(commit_of "$HEAD")
  tree="$RUNNER_TEMP/ratchet-head-$head"
  [[ -d $tree ]] || git worktree add --quiet --detach "$tree" "$head"
fi
{
  echo "base=$base"
  echo "tree=$tree"
} >> "$GITHUB_OUTPUT"
