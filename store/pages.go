package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"

	bolt "go.etcd.io/bbolt"
)

// pages checks the tree of bbolt's pages with reads of its own. bbolt's check
// follows a damaged page number out of the file, in a goroutine where that ends
// the process. The format is that of version 2, which has been the only one
// since 2014 (go.etcd.io/bbolt/internal/common).
type pages struct {
	ctx  context.Context // ends it
	file *os.File
	size int64 // of a page
	high uint64
	seen map[uint64]bool
	errs []error
}

const (
	pageHead     = 16
	branchPage   = 0x01
	leafPage     = 0x02
	elementBytes = 16
	bucketEntry  = 0x01
	mostDamage   = 20 // more errors than that say nothing more
)

// checkPages checks the pages of what is committed. Nothing is being written.
func checkPages(ctx context.Context, db *bolt.DB) error {
	f, err := os.Open(db.Path())
	if err != nil {
		return err
	}
	defer f.Close()
	p := &pages{ctx: ctx, file: f, size: int64(db.Info().PageSize), seen: make(map[uint64]bool)}
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
		b := make([]byte, pageHead+64)
		if _, err := p.file.ReadAt(b, at*p.size); err != nil {
			return 0, err
		}
		if m, id := metaOf(b); m != nil && id >= newest {
			newest = id
			root, p.high = binary.NativeEndian.Uint64(m[16:]), binary.NativeEndian.Uint64(m[40:])
		}
	}
	if root == 0 {
		return 0, errors.New("both meta pages are damaged")
	}
	return root, nil
}

// metaOf returns what a meta page says, and of which transaction it is; nil if it
// is damaged.
func metaOf(page []byte) (m []byte, id uint64) {
	m = page[pageHead:]
	sum := fnv.New64a()
	sum.Write(m[:56])
	if binary.NativeEndian.Uint64(m[56:]) != sum.Sum64() {
		return nil, 0
	}
	return m, binary.NativeEndian.Uint64(m[48:])
}

func (p *pages) bad(id uint64, format string, args ...any) {
	if len(p.errs) < mostDamage {
		p.errs = append(p.errs, fmt.Errorf("page %d: %s", id, fmt.Sprintf(format, args...)))
	}
}

// page checks a page and those below it.
func (p *pages) page(id uint64) {
	if p.ctx.Err() != nil {
		return
	}
	if id < 2 || id >= p.high {
		p.bad(id, "it is not among the file's %d pages", p.high)
		return
	}
	if p.seen[id] {
		p.bad(id, "it is referred to twice")
		return
	}
	p.seen[id] = true
	head := make([]byte, pageHead)
	if _, err := p.file.ReadAt(head, int64(id)*p.size); err != nil {
		p.bad(id, "%v", err)
		return
	}
	overflow := uint64(binary.NativeEndian.Uint32(head[12:]))
	if own := binary.NativeEndian.Uint64(head); own != id || id+overflow >= p.high {
		p.bad(id, "its head says that it is page %d, with %d more", own, overflow)
		return
	}
	b := make([]byte, int64(overflow+1)*p.size)
	if _, err := p.file.ReadAt(b, int64(id)*p.size); err != nil {
		p.bad(id, "%v", err)
		return
	}
	p.elements(id, b)
}

// elements checks what a page refers to: a branch other pages, a leaf keys and
// values, of which some are buckets with pages of their own.
func (p *pages) elements(id uint64, b []byte) {
	flags, count := binary.NativeEndian.Uint16(b[8:]), int(binary.NativeEndian.Uint16(b[10:]))
	if flags != branchPage && flags != leafPage || pageHead+count*elementBytes > len(b) {
		p.bad(id, "its head says type %#x with %d elements", flags, count)
		return
	}
	var last []byte
	for i := range count {
		at := pageHead + i*elementBytes
		e := b[at:]
		if flags == branchPage {
			pos, size := uint64(binary.NativeEndian.Uint32(e)), uint64(binary.NativeEndian.Uint32(e[4:]))
			if uint64(at)+pos+size > uint64(len(b)) {
				p.bad(id, "element %d is not within it", i)
				continue
			}
			last = p.ordered(id, i, last, e[pos:pos+size])
			p.page(binary.NativeEndian.Uint64(e[8:]))
			continue
		}
		pos, key, value := uint64(binary.NativeEndian.Uint32(e[4:])), uint64(binary.NativeEndian.Uint32(e[8:])), uint64(binary.NativeEndian.Uint32(e[12:]))
		if uint64(at)+pos+key+value > uint64(len(b)) {
			p.bad(id, "element %d is not within it", i)
			continue
		}
		last = p.ordered(id, i, last, e[pos:pos+key])
		switch kind := binary.NativeEndian.Uint32(e); kind {
		case 0:
		case bucketEntry:
			p.bucket(id, i, e[pos+key:pos+key+value])
		default:
			p.bad(id, "element %d is of the type %#x", i, kind)
		}
	}
}

// ordered checks that a key comes after the one before, and returns it.
func (p *pages) ordered(id uint64, i int, last, key []byte) []byte {
	if i > 0 && string(last) >= string(key) {
		p.bad(id, "key %d is not in order", i)
	}
	return key
}

// bucket checks a bucket: its own pages, or the one within its value.
func (p *pages) bucket(id uint64, i int, v []byte) {
	switch {
	case len(v) < 16:
		p.bad(id, "bucket %d has %d bytes", i, len(v))
	case binary.NativeEndian.Uint64(v) != 0:
		p.page(binary.NativeEndian.Uint64(v))
	case len(v) < 16+pageHead:
		p.bad(id, "bucket %d has %d bytes", i, len(v))
	default:
		p.elements(id, v[16:])
	}
}
