"""Tests of the room serve; its servers listen on the loopback interface only."""
