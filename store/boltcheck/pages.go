package boltcheck

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// pages is a running check of the tree of pages.
type pages struct {
	ctx  context.Context
	file *os.File
	size int64 // of a page
	high uint64
	seen map[uint64]bool
	errs []error
}

const maxErrors = 20 // more errors do not help anybody

// CheckPages checks the committed pages of the database at path, whose pages have that
// many bytes: every reference, every header of a page, the order of all keys. Nothing
// may write to the file meanwhile. The error names the corrupt pages, the first 20 of
// them. When ctx is done the check ends, without an error for that.
func CheckPages(ctx context.Context, path string, pageSize int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	p := &pages{ctx: ctx, file: f, size: int64(pageSize), seen: make(map[uint64]bool)}
	root, err := p.meta()
	if err != nil {
		return err
	}
	p.page(root)
	return errors.Join(p.errs...)
}

// meta reads the newer of the two pages that are valid and returns the page of
// the root.
func (p *pages) meta() (root uint64, err error) {
	newest := uint64(0)
	for at := range int64(2) {
		b := make([]byte, pageHeaderBytes+metaBytes)
		if _, err := p.file.ReadAt(b, at*p.size); err != nil {
			return 0, err
		}
		if m, ok := parseMeta(b); ok && m.tx >= newest {
			newest, root, p.high = m.tx, m.root, m.high
		}
	}
	if root == 0 {
		return 0, errors.New("both meta pages are corrupt")
	}
	return root, nil
}

func (p *pages) addError(id uint64, format string, args ...any) {
	if len(p.errs) < maxErrors {
		p.errs = append(p.errs, fmt.Errorf("page %d: %s", id, fmt.Sprintf(format, args...)))
	}
}

// page checks a page and those below it.
func (p *pages) page(id uint64) {
	if p.ctx.Err() != nil {
		return
	}
	if id < 2 || id >= p.high {
		p.addError(id, "it is not one of the file's %d pages", p.high)
		return
	}
	if p.seen[id] {
		p.addError(id, "it is referred to twice")
		return
	}
	p.seen[id] = true
	head := make([]byte, pageHeaderBytes)
	if _, err := p.file.ReadAt(head, int64(id)*p.size); err != nil {
		p.addError(id, "%v", err)
		return
	}
	h := parsePageHeader(head)
	if h.id != id || id+uint64(h.overflow) >= p.high {
		p.addError(id, "its header says that it is page %d, with %d more", h.id, h.overflow)
		return
	}
	b := make([]byte, (int64(h.overflow)+1)*p.size)
	if _, err := p.file.ReadAt(b, int64(id)*p.size); err != nil {
		p.addError(id, "%v", err)
		return
	}
	p.elements(id, b)
}

// elements checks the elements of a page: a branch refers to other pages, a leaf has
// keys and values, and some of the values are buckets with pages of their own.
func (p *pages) elements(id uint64, b []byte) {
	h := parsePageHeader(b)
	if h.flags != branchPage && h.flags != leafPage || pageHeaderBytes+h.count*elementBytes > len(b) {
		p.addError(id, "its header says type %#x with %d elements", h.flags, h.count)
		return
	}
	var last []byte
	for i := range h.count {
		at := pageHeaderBytes + i*elementBytes
		e := b[at:]
		u32 := func(at int) uint64 { return uint64(binary.NativeEndian.Uint32(e[at:])) }
		kind, pos, key, value := u32(0), u32(4), u32(8), u32(12)
		if h.flags == branchPage {
			pos, key, value = u32(0), u32(4), 0
		}
		if uint64(at)+pos+key+value > uint64(len(b)) {
			p.addError(id, "element %d is not within it", i)
			continue
		}
		if i > 0 && string(last) >= string(e[pos:pos+key]) {
			p.addError(id, "key %d is not in order", i)
		}
		last = e[pos : pos+key]
		switch {
		case h.flags == branchPage:
			p.page(binary.NativeEndian.Uint64(e[8:]))
		case kind == bucketEntry:
			p.bucket(id, i, e[pos+key:pos+key+value])
		case kind != 0:
			p.addError(id, "element %d is of the type %#x", i, kind)
		}
	}
}

// bucket checks a bucket: its own pages, or the page within its value.
func (p *pages) bucket(id uint64, i int, v []byte) {
	switch {
	case len(v) < bucketHeaderBytes:
		p.addError(id, "bucket %d has %d bytes", i, len(v))
	case binary.NativeEndian.Uint64(v) != 0:
		p.page(binary.NativeEndian.Uint64(v))
	case len(v) < bucketHeaderBytes+pageHeaderBytes:
		p.addError(id, "bucket %d has %d bytes", i, len(v))
	default:
		p.elements(id, v[bucketHeaderBytes:])
	}
}
