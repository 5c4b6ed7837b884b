#!/usr/bin/env bash
# Remakes the recorded runs of results/reference on this machine, without a container: exact versions from
# constraints.txt in a virtual environment, then every run by the settings in its run.toml.
#
#   results/reproduce.sh                  all steps, in order
#   results/reproduce.sh list             their names
#   results/reproduce.sh planted page     these steps alone
#
# A step that was stopped goes on where it was. New runs go to results/runs/NAME; what is recorded stays as it is.
# CRITEO and AVAZU name the raw files of these data sets, which a person has to fetch; MovieLens is downloaded, all else
# is generated. VENV is the environment (.venv), PYTHON what makes it (python3).
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${VENV:-.venv}
RUNS=$(cd results/reference && for file in */run.toml; do dirname "$file"; done)

bench() { "$VENV/bin/python" -m bench "$@"; }

environment() {
  [ -e "$VENV/.reproduce" ] && [ "$VENV/.reproduce" -nt constraints.txt ] && return
  [ -x "$VENV/bin/python" ] || "${PYTHON:-python3}" -m venv "$VENV"
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[catboost]'
  touch "$VENV/.reproduce"
}

data() {
  if [ -n "${CRITEO:-}" ]; then bench prepare criteo --raw "$CRITEO"; fi
  if [ -n "${AVAZU:-}" ]; then bench prepare avazu --raw "$AVAZU"; fi
  bench prepare movielens-1m --download
}

remake() { # a recorded run, by the name of its folder
  bench run --config "results/reference/$1/run.toml" --out "results/runs/$1" --rerun missing
  diff -u "results/reference/$1/tables/overall.md" "results/runs/$1/tables/overall.md" ||
    echo "$1: the tables above differ. Times always do; for AUC and Logloss see results/reference/README.md, Rounding."
}

page() { bench evidence results; }

STEPS="environment data $RUNS page"
[ "${1:-}" = list ] && { printf '%s\n' $STEPS; exit; }
for step in "${@:-$STEPS}"; do
  for name in $step; do
    case " $(echo $STEPS) " in
      *" $name "*) ;;
      *) echo "no step is called $name; there are: $(echo $STEPS)" >&2; exit 2 ;;
    esac
    echo "== $name"
    case $name in
      environment | data | page) "$name" ;;
      *) remake "$name" ;;
    esac
  done
done
