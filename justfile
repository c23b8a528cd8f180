# The verbs of the project; README, CONTRIBUTING and .ci/run use the same ones. `uv run just` lists them.

set windows-shell := ["powershell.exe", "-NoLogo", "-NoProfile", "-Command"]

[private]
default:
    @just --list

# Install everything, and the checks that run before each commit.
init:
    uv sync
    uv run pre-commit install

# Mend what can be mended: formatting, simple lint, the file tree in ARCHITECTURE.md.
fmt:
    uv run ruff check --fix-only .
    uv run ruff format .
    uv run python tests/file_tree.py

# Style and arrows between packages.
lint:
    uv run ruff check .
    uv run ruff format --check .
    uv run lint-imports --no-cache

# Types: strict for core, command line and plugins.
types:
    uv run pyright

# The tests, for instance `just test packages/easyanimate-core -x` or `just test --run-slow`.
test *ARGS:
    uv run pytest {{ ARGS }}

# Compare with the original's recorded numbers: case, largest difference, tolerance, pass.
golden *FOLDERS:
    uv run python tests/golden/run.py {{ FOLDERS }}

# Start-up time, speed and memory of the V4 transformer and VAE, clips per second of data preparation.
bench:
    uv run python benchmarks/startup.py
    uv run python benchmarks/transformer.py
    uv run python benchmarks/vae.py
    uv run python benchmarks/data.py

# The documentation as a website in site/.
docs:
    uv run --group docs mkdocs build --strict

# Resolve all versions anew, and list them with their hashes in constraints.txt.
lock:
    uv lock --upgrade
    just versions --output-file constraints.txt

# The resolved versions with their hashes, as constraints.txt lists them.
[private]
versions *ARGS:
    @uv export --quiet --locked --all-packages --all-extras --all-groups --no-emit-workspace --no-annotate --no-header {{ ARGS }}

# All packages as wheels in dist/.
wheels:
    uv build --all-packages --wheel --out-dir dist
