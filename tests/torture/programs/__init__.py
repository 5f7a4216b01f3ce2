"""The programs, by what they do to the library."""

from tests.torture.programs import attacks, commands, disks, files, kills, numbers, pictures, wear

__all__ = ["attacks", "commands", "disks", "files", "kills", "numbers", "pictures", "wear"]
