"""What a restore asks of this machine: conf packages, system packages, shared libraries."""
