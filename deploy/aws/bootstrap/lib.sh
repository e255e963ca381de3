# shellcheck shell=bash
# Shared by both bootstraps. All functions are idempotent.

readonly OPT=/opt/latency-sweep
# shellcheck disable=SC2034 # for the scripts that source this
readonly ETC=/etc/latency-sweep
readonly VENV=$OPT/venv
readonly RELEASES=${RELEASES:-https://github.com/prometheus}

log() { printf '%s\n' "$*" >&2; }

die() {
  log "latency-sweep: $*"
  exit 1
}

# Write standard input to a file if it differs; returns 0 if it was written.
#   write_file MODE OWNER:GROUP PATH
# Atomic, with its permissions: nobody can read a partial file or a secret.
write_file() {
  local mode=$1 owner=$2 path=$3 fresh
  mkdir -p "$(dirname "$path")"
  fresh=$(mktemp "$path.XXXXXX")
  cat >"$fresh"
  if [[ -f $path ]] && cmp -s "$fresh" "$path"; then
    rm -f "$fresh"
    return 1
  fi
  chmod "$mode" "$fresh"
  chown "$owner" "$fresh"
  mv -f "$fresh" "$path"
  log "wrote $path"
}

ensure_user() {
  local user=$1
  getent passwd "$user" >/dev/null ||
    useradd --system --user-group --no-create-home --home-dir / --shell /sbin/nologin "$user"
}

# Retries: the network may not be up yet at boot.
install_packages() {
  local attempt
  for attempt in 1 2 3 4 5; do
    if dnf install --assumeyes --quiet "$@"; then return 0; fi
    log "dnf failed (attempt $attempt of 5)"
    sleep "${RETRY_PAUSE_SEC:-10}"
  done
  die "dnf could not install: $*"
}

# Verify a file against a SHA-256; the file is removed when it differs.
verify_sha256() {
  local file=$1 expected=$2 actual
  actual=$(sha256sum "$file" | cut -d ' ' -f 1)
  if [[ $actual != "$expected" ]]; then
    rm -f "$file"
    die "$(basename "$file") has SHA-256 $actual, expected $expected; fix wheel_sha256 or the wheel."
  fi
}

# Install the pinned wheel into a virtual environment of its own, with what a role needs: `probe` or
# `monitor`.
#   install_wheel ROLE URI SHA256-OR-EMPTY INDEX-OR-EMPTY
install_wheel() {
  local role=$1 uri=$2 sha256=$3 index=$4 wanted="$2 $3" folder wheel
  if [[ -f $VENV/.installed && $(<"$VENV/.installed") == "$wanted" ]]; then return 0; fi
  folder=$(mktemp -d)
  case $uri in
    s3://*)
      wheel=$folder/${uri##*/}
      aws s3 cp --only-show-errors "$uri" "$wheel"
      ;;
    https://*)
      wheel=$folder/${uri##*/}
      curl --fail --silent --show-error --location --proto '=https' --retry 5 \
        --output "$wheel" "$uri"
      ;;
    *)
      python3.11 -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps \
        --only-binary=:all: ${index:+--index-url "$index"} --dest "$folder" "$uri"
      wheel=$(printf '%s\n' "$folder"/*.whl)
      ;;
  esac
  if [[ -n $sha256 ]]; then verify_sha256 "$wheel" "$sha256"; fi
  # An earlier attempt may have left an incomplete environment.
  rm -rf "$VENV"
  python3.11 -m venv "$VENV"
  # The wheel contains the locked dependencies of each role, with hashes.
  "$VENV/bin/python" -c 'import sys, zipfile
wheel, role = sys.argv[1:]
name = f"latency_sweep/deploy/aws/requirements/{role}.txt"
sys.stdout.buffer.write(zipfile.ZipFile(wheel).read(name))' \
    "$wheel" "$role" >"$folder/requirements.txt"
  # Wheels only: nothing is compiled or run from a source archive on the instance.
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir \
    --only-binary=:all: --require-hashes ${index:+--index-url "$index"} \
    --requirement "$folder/requirements.txt"
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir \
    --no-index --no-deps "$wheel"
  rm -rf "$folder"
  "$VENV/bin/probe" --version >/dev/null || die "the installed wheel does not start"
  printf '%s\n' "$wanted" >"$VENV/.installed"
  log "installed $uri"
}

# A release binary of the Prometheus project, verified against the published checksums.
#   install_release NAME VERSION BINARY...
install_release() {
  local name=$1 version=$2 platform archive folder base binary
  shift 2
  if [[ -f $OPT/$name.version && $(<"$OPT/$name.version") == "$version" ]]; then return 0; fi
  case $(uname -m) in
    x86_64) platform=linux-amd64 ;;
    aarch64) platform=linux-arm64 ;;
    *) die "there is no release of $name for $(uname -m)" ;;
  esac
  archive=$name-$version.$platform.tar.gz
  base=$RELEASES/$name/releases/download/v$version
  folder=$(mktemp -d)
  curl --fail --silent --show-error --location --proto '=https' --retry 5 \
    --output "$folder/sha256sums.txt" "$base/sha256sums.txt" \
    --output "$folder/$archive" "$base/$archive"
  (cd "$folder" && grep -F "  $archive" sha256sums.txt | sha256sum --check --quiet --strict) ||
    die "$archive does not have its published checksum"
  mkdir -p "$OPT/bin"
  for binary in "$@"; do
    tar --extract --gzip --file "$folder/$archive" --directory "$OPT/bin" --no-same-owner \
      --strip-components=1 "${archive%.tar.gz}/$binary"
    chmod 0755 "$OPT/bin/$binary"
  done
  rm -rf "$folder"
  printf '%s\n' "$version" >"$OPT/$name.version"
  log "installed $name $version"
}

# Write a secret of SSM Parameter Store to a file; it never appears on a command line or in a log.
#   fetch_secret PARAMETER GROUP PATH
fetch_secret() {
  local parameter=$1 group=$2 path=$3 value
  value=$(aws ssm get-parameter --with-decryption --name "$parameter" \
    --query Parameter.Value --output text) ||
    die "the parameter $parameter cannot be read; does it exist in this region?"
  printf '%s\n' "$value" | write_file 0640 "root:$group" "$path" || true
}

# Set the time at which this instance powers itself off, independently of the collector.
arm_expiry() {
  local expires_at=$1
  printf '[Timer]\nOnCalendar=\nOnCalendar=%s\n' "$expires_at" |
    write_file 0644 root:root /etc/systemd/system/sweep-expire.timer.d/10-when.conf || true
}

# Ship the journal to CloudWatch Logs, through a file.
ship_logs() {
  local group=$1 namespace=$2
  install_packages amazon-cloudwatch-agent
  write_file 0644 root:root /opt/aws/amazon-cloudwatch-agent/etc/amazon-cloudwatch-agent.json \
    <<<"$(sed -e "s|@LOG_GROUP@|$group|" -e "s|@NAMESPACE@|$namespace|" \
      "$OPT/bootstrap/cloudwatch-agent.json")" || true
  write_file 0644 root:root /etc/logrotate.d/sweep-journal <"$OPT/bootstrap/sweep-journal.logrotate" ||
    true
  mkdir -p /var/log/latency-sweep /var/lib/latency-sweep
  systemctl enable --now sweep-journal.service amazon-cloudwatch-agent.service
}

# Install systemd units from the bootstrap folder.
install_units() {
  local unit
  for unit in "$@"; do
    write_file 0644 root:root "/etc/systemd/system/$unit" <"$OPT/bootstrap/$unit" || true
  done
}
