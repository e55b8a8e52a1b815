// Command tlogverify checks a Cleanroom custody directory with Go's own transparency-log code
// (golang.org/x/mod/sumdb), which shares nothing with the code that wrote it.
//
// It reads checkpoint, key.pub and either tile/ or entries.log / log.jsonl, and checks: the
// note's signature; every entry's leaf hash in a tree rebuilt here; the root; every inclusion
// proof; consistency from every smaller size (sampled when the log is large); and, where there
// are tiles, that each of them holds what Go's tile code puts there.
//
// Build: GO111MODULE=off GOPATH=/usr/share/gocode go build
// Use:   tlogverify DIR        exit code 0 and one line of counts, or 1 and the first thing wrong.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const tileHeight = 8

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: tlogverify CUSTODY-DIR")
		os.Exit(2)
	}
	summary, err := verify(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "tlogverify:", err)
		os.Exit(1)
	}
	fmt.Println(summary)
}

// hashes is a tlog.HashReader over stored hashes in memory.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, 0, len(indexes))
	for _, index := range indexes {
		if index < 0 || index >= int64(len(h)) {
			return nil, fmt.Errorf("hash %d of %d was asked for", index, len(h))
		}
		out = append(out, h[index])
	}
	return out, nil
}

func verify(dir string) (string, error) {
	size, root, err := checkpoint(dir)
	if err != nil {
		return "", err
	}
	entries, err := readEntries(dir, size)
	if err != nil {
		return "", err
	}
	var stored hashes
	for index, entry := range entries {
		next, err := tlog.StoredHashes(int64(index), entry, stored)
		if err != nil {
			return "", err
		}
		stored = append(stored, next...)
	}
	computed, err := tlog.TreeHash(size, stored)
	if err != nil {
		return "", err
	}
	if computed != root {
		return "", fmt.Errorf("the entries' root is %v, the checkpoint says %v", computed, root)
	}
	for index, entry := range entries {
		proof, err := tlog.ProveRecord(size, int64(index), stored)
		if err != nil {
			return "", err
		}
		leaf := tlog.RecordHash(entry)
		if err := tlog.CheckRecord(proof, size, root, int64(index), leaf); err != nil {
			return "", fmt.Errorf("entry %d is not included: %v", index, err)
		}
	}
	step := size/500 + 1
	consistent := 0
	for old := int64(1); old <= size; old += step {
		before, err := tlog.TreeHash(old, stored)
		if err != nil {
			return "", err
		}
		proof, err := tlog.ProveTree(size, old, stored)
		if err != nil {
			return "", err
		}
		if err := tlog.CheckTree(proof, size, root, old, before); err != nil {
			return "", fmt.Errorf("size %d is no prefix: %v", old, err)
		}
		consistent++
	}
	tiles, err := checkTiles(dir, size, stored)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("ok: %d entries, %d inclusion proofs, %d consistency proofs, %d tiles",
		size, len(entries), consistent, tiles), nil
}

// checkpoint opens the signed note with key.pub and parses its three lines.
func checkpoint(dir string) (int64, tlog.Hash, error) {
	var root tlog.Hash
	key, err := os.ReadFile(filepath.Join(dir, "key.pub"))
	if err != nil {
		return 0, root, err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(key)))
	if err != nil {
		return 0, root, fmt.Errorf("key.pub: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return 0, root, err
	}
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return 0, root, fmt.Errorf("checkpoint: %v", err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return 0, root, fmt.Errorf("checkpoint: %d lines instead of 3", len(lines)-1)
	}
	if lines[0] != verifier.Name() {
		return 0, root, fmt.Errorf("checkpoint: origin %q, key %q", lines[0], verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return 0, root, fmt.Errorf("checkpoint: size %q", lines[1])
	}
	hash, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(hash) != tlog.HashSize {
		return 0, root, fmt.Errorf("checkpoint: root %q", lines[2])
	}
	copy(root[:], hash)
	return size, root, nil
}

// readEntries gives the log's entries from its entry bundles, its lines, or both compared.
func readEntries(dir string, size int64) ([][]byte, error) {
	var lines, bundled [][]byte
	for _, name := range []string{"log.jsonl", "entries.log"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		lines = bytes.Split(bytes.TrimSuffix(content, []byte("\n")), []byte("\n"))
		if int64(len(lines)) < size {
			return nil, fmt.Errorf("%s has %d entries, the checkpoint %d", name, len(lines), size)
		}
		lines = lines[:size]
		break
	}
	if _, err := os.Stat(filepath.Join(dir, "tile")); err == nil {
		for first := int64(0); first < size; first += 1 << tileHeight {
			width := size - first
			if width > 1<<tileHeight {
				width = 1 << tileHeight
			}
			name := tilePath("entries", first>>tileHeight, width)
			content, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return nil, err
			}
			for n := int64(0); n < width; n++ {
				if len(content) < 2 || len(content) < 2+int(binary.BigEndian.Uint16(content)) {
					return nil, fmt.Errorf("%s ends within entry %d", name, n)
				}
				length := int(binary.BigEndian.Uint16(content))
				bundled = append(bundled, content[2:2+length])
				content = content[2+length:]
			}
			if len(content) != 0 {
				return nil, fmt.Errorf("%s has %d bytes too many", name, len(content))
			}
		}
	}
	switch {
	case lines == nil && bundled == nil && size > 0:
		return nil, fmt.Errorf("there are no entries in %s", dir)
	case lines == nil:
		return bundled, nil
	case bundled == nil:
		return lines, nil
	}
	for index := range lines {
		if !bytes.Equal(lines[index], bundled[index]) {
			return nil, fmt.Errorf("entry %d differs between its line and its bundle", index)
		}
	}
	return lines, nil
}

// checkTiles compares every tile that a log of this size has.
func checkTiles(dir string, size int64, stored hashes) (int, error) {
	if _, err := os.Stat(filepath.Join(dir, "tile")); err != nil {
		return 0, nil
	}
	count := 0
	tiles := tlog.NewTiles(tileHeight, 0, size)
	for at, tile := range tiles {
		// Go lists every width that a partial tile ever had; an export has the widest.
		if at+1 < len(tiles) && tiles[at+1].L == tile.L && tiles[at+1].N == tile.N {
			continue
		}
		name := tilePath(strconv.Itoa(tile.L), tile.N, int64(tile.W))
		found, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return 0, err
		}
		expected, err := tlog.ReadTileData(tile, stored)
		if err != nil {
			return 0, err
		}
		if !bytes.Equal(found, expected) {
			return 0, fmt.Errorf("%s is not the tile of this log", name)
		}
		count++
	}
	return count, nil
}

// tilePath is the path of C2SP tlog-tiles, which differs from Go's by the missing height.
func tilePath(level string, number, width int64) string {
	groups := fmt.Sprintf("%03d", number%1000)
	for number >= 1000 {
		number /= 1000
		groups = fmt.Sprintf("x%03d/%s", number%1000, groups)
	}
	if width < 1<<tileHeight {
		groups = fmt.Sprintf("%s.p/%d", groups, width)
	}
	return filepath.Join("tile", level, filepath.FromSlash(groups))
}
