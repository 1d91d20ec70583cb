// This file lets functions without a body be declared: see hash_linux.go.
