"""Tests of the emulator itself, with real clients where there is one."""
