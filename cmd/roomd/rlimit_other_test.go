//go:build !linux

package main

import "testing"

func setDescriptorLimit(t *testing.T, _ int, _ uint64) { t.Skip("needs prlimit(2) of Linux") }
